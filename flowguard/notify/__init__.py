"""Messages to people: how they read, and where they go. apprise is imported in this package alone."""

from __future__ import annotations

from flowguard.notify.address import Address, read_addresses
from flowguard.notify.compose import compose, trial
from flowguard.notify.message import Line, Message, harmless
from flowguard.notify.send import Delivery, send

__all__ = ["Address", "Delivery", "Line", "Message", "compose", "harmless", "read_addresses", "send", "trial"]
