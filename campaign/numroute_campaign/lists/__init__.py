"""Reading campaign lists of any common form as blocks of Arrow columns."""
