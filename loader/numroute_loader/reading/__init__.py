"""Reading registry files: unpacking, parsing and diagnosing. It knows no country."""
