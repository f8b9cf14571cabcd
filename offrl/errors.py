"""Errors that a person can act on."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in what was asked for, or a fault of the machine: shown as its message alone, without a traceback.

    The message names the setting, the value and the remedy.
    """
