"""Reading registry files: recognising, unpacking, parsing and diagnosing. It knows no country."""
