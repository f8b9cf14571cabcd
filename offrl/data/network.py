"""Whether a download can work at all, told in seconds rather than after every retry."""

from __future__ import annotations

import os
import socket
import threading
from urllib.parse import urlparse

PATIENCE = 4.0  # seconds


def why_unreachable() -> str | None:
    """The reason why Minari's remote cannot be reached; None if it can, or if only trying will tell."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return "HF_HUB_OFFLINE is set"
    remote = os.environ.get("MINARI_REMOTE", "hf://")
    if not remote.startswith("hf://"):
        return None
    try:
        from huggingface_hub.constants import ENDPOINT
    except ImportError:
        return "huggingface_hub is not installed (pip install 'minari[hf]')"
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return None
    address = urlparse(ENDPOINT)
    port = address.port or (80 if address.scheme == "http" else 443)
    return _why_no_connection(address.hostname or "", port)


def _why_no_connection(host: str, port: int) -> str | None:
    reasons = [f"{host} did not answer within {PATIENCE:.0f} seconds"]

    def probe() -> None:
        try:
            socket.create_connection((host, port), timeout=PATIENCE).close()
            reasons.clear()
        except OSError as error:
            reasons[0] = f"{host} cannot be reached ({error})"

    # A thread, because no timeout applies to looking up the name.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return reasons[0] if reasons else None
