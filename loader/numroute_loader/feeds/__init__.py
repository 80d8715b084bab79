"""Keeping a store up to date from a folder or an SFTP host where a registry's files arrive."""
