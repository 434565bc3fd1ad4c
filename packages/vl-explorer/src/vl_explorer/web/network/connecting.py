"""The network backend under httpcore2: it connects to an address that was checked, and to no other.

A name is looked up once for a connection, all its addresses are checked, and the socket is opened to one of those very
addresses, so that a second look-up cannot lead elsewhere (DNS rebinding). TLS and the Host header go on to use the
name, since httpcore2 takes both from the URL.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore2

from vl_explorer.web.network.addresses import why_forbidden
from vl_explorer.web.network.resolver import CachedResolver
from vl_explorer.web.reasons import Reason, Refusal, Transient

_ADDRESSES_TRIED = 4
_SECONDS_AN_ADDRESS = 10.0


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Connect to public addresses alone.

    Args:
        resolver: Finds the addresses of a name.
        allow_loopback: Let them be addresses of this machine.
        network: Opens a socket to an address, by default httpcore2's own backend; tests give one that records.
    """

    def __init__(
        self,
        resolver: CachedResolver,
        *,
        allow_loopback: bool = False,
        network: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        self._resolver, self._allow_loopback = resolver, allow_loopback
        self._network = network or httpcore2.AnyIOBackend()

    async def addresses(self, host: str) -> tuple[str, ...]:
        """Return the addresses of a host, all of them public.

        Raises:
            Refusal: With reason ``dns`` if there is none, ``forbidden_address`` if one of them must not be connected
                to: a host that mixes public with private addresses is set up to be used against somebody.
        """
        found = await self._resolver.resolve(host)
        for address in found:
            try:
                why = why_forbidden(address, allow_loopback=self._allow_loopback)
            except ValueError:
                raise Refusal(Reason.dns, f"{host} has {address!r} for an address") from None
            if why:
                raise Refusal(Reason.forbidden_address, f"{host} leads to {address}, which is {why}")
        return found

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address of the host that answers.

        Raises:
            Refusal: As `addresses`, or with reason ``connect``.
        """
        failures = []
        for address in (await self.addresses(host))[:_ADDRESSES_TRIED]:
            try:
                stream = await self._network.connect_tcp(
                    address, port, timeout or _SECONDS_AN_ADDRESS, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout, OSError) as error:
                failures.append(f"{address}: {str(error) or type(error).__name__}")
            else:
                return CheckedStream(stream)
        raise Transient(Reason.connect, f"{host} cannot be connected to; {', '.join(failures)}")

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """Refuse: a socket in the file system is not on the public internet."""
        raise Refusal(Reason.forbidden_address, "a socket in the file system is not connected to")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._network.sleep(seconds)


class CheckedStream(httpcore2.AsyncNetworkStream):
    """A stream that says of a failed handshake that it was one."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read some bytes."""
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all bytes."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """Begin TLS under the name of the host.

        Raises:
            Refusal: With reason ``tls``.
        """
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except Exception as error:  # certificates fail in the ways of several libraries
            raise Refusal(Reason.tls, f"no TLS with {server_hostname}: {error}") from error

    def get_extra_info(self, info: str) -> Any:
        """Return what the stream knows about itself."""
        return self._stream.get_extra_info(info)
