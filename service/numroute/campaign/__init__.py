"""Campaign lists: from a raw list to files ready to send, per operator.

``Summary`` says what a run did; reports are made of it.
"""
