"""Markdown in and out: a way for documents to come and go, never the form that they are kept in. Pure."""
