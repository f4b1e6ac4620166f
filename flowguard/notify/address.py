"""Addresses: where messages go. Each is a secret; what may be shown of it is its service and its host."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import getproxies

import apprise

from flowguard.settings import masked_address

# Public addresses of services whose own address stands in no URL, as their plug-ins keep them.
_KEPT = ("webhook_url", "notify_url", "api_url")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Address:
    """One address. `name` is what people are shown of it, `id` what the store calls it; neither holds a secret.

    `service` sends to it, None where apprise does not know such an address.
    """

    id: str
    name: str
    service: apprise.NotifyBase | None = field(default=None, repr=False)

    @property
    def reached_at(self) -> tuple[str, int] | None:
        """Host and port that answer for it, None where that is not known or a proxy stands before it."""
        if self.service is None:
            return None
        schemes = {"http", "https", "all"} & getproxies().keys()
        mail = getattr(self.service, "smtp_host", None)
        if schemes and not mail:
            return None
        host = mail or _host(self.service)
        if host:
            usual = 25 if mail else _PORTS["https" if self.service.secure else "http"]
            return str(host), int(self.service.port or usual)
        for name in _KEPT:
            parts = urlsplit(str(getattr(self.service, name, "")))
            if parts.hostname and parts.scheme in _PORTS and re.fullmatch(r"[\w.-]+", parts.hostname):
                return parts.hostname, parts.port or _PORTS[parts.scheme]
        return None


def read_addresses(given: Sequence[str]) -> tuple[Address, ...]:
    """The addresses of a setting, each once.

    >>> [one.name for one in read_addresses(["json://me:secret@hooks.example.org/token", "nonsense://x"])]
    ['JSON at hooks.example.org', 'nonsense://***']
    """
    found: dict[str, Address] = {}
    for address in dict.fromkeys(given):
        one = _read(address)
        # Two whose secrets begin and end alike have one id; they are told apart by their order.
        number = sum(known.split("-")[0] == one.id for known in found)
        name = f"{one.id}-{number + 1}" if number else one.id
        found[name] = Address(name, one.name, one.service)
    return tuple(found.values())


def _read(address: str) -> Address:
    service = apprise.Apprise.instantiate(address, asset=_asset())
    if not isinstance(service, apprise.NotifyBase):
        return Address(_id(masked_address(address)), masked_address(address))
    # Without secrets, so that the store holds nothing to guess them from, and a new password is no new address.
    public = str(service.url(privacy=True)).split("?")[0]
    where = _host(service)
    return Address(_id(public), f"{service.service_name}{f' at {where}' if where else ''}", service)


def _asset() -> apprise.AppriseAsset:
    return apprise.AppriseAsset(
        app_id="flowguard", app_desc="flowguard", app_url="", image_url_mask="", image_url_logo="", async_mode=False
    )


def _id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _host(service: apprise.NotifyBase) -> str:
    """The host in its URL, "" where what stands there may be another thing: of many services it is a token."""
    return str(service.host or "") if service.template_tokens.get("host", {}).get("required") else ""
