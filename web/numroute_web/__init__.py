"""numroute over HTTP: JSON and CSV for other software, a page for people with a list."""
