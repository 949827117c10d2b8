"""Plots."""


def write(rows):
    pass
