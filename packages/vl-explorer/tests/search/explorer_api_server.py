"""A local server that speaks the documented JSON of each service, and misbehaves where a test asks for it."""

import asyncio
import json
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

KEY = "k3y-5ecret.0123456789"
IMAGES = "https://images.example"


@dataclass
class Reply:
    """Content that is sent: an object as JSON, or bytes as they are."""

    body: object = b""
    status: int = 200
    headers: dict = field(default_factory=dict)
    length: int | None = None
    """Declared length, where it is not that of the body."""


class Drop:
    """Close the connection without an answer."""


class Stall:
    """Send nothing until the client goes."""


@dataclass
class Request:
    """Request that was received."""

    params: dict
    headers: dict


class Server:
    """A service on a free port of this machine; use it in ``async with``.

    Args:
        service: Answers a request with an object, a `Reply`, `Drop` or `Stall`.
        first: Answers that are given before it, one a request.
    """

    def __init__(self, service, first=()):
        self.requests = []
        self._service = service
        self._first = list(first)

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/api"
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().strip().split("\r\n")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                request = Request(dict(parse_qsl(urlsplit(first.split(" ")[1]).query)), headers)
                self.requests.append(request)
                reply = self._first.pop(0) if self._first else self._service(request)
                if reply is Stall:
                    await reader.read()
                if reply in (Drop, Stall):
                    break
                await send(writer, reply if isinstance(reply, Reply) else Reply(reply))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def send(writer, reply):
    """Send a reply; if it is shorter than declared, the connection is closed after it."""
    body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    length = len(body) if reply.length is None else reply.length
    headers = {"Content-Type": "application/json", "Content-Length": str(length), **reply.headers}
    lines = [f"HTTP/1.1 {reply.status} Said", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    await writer.drain()
    if length > len(body):
        raise ConnectionError


def openverse(total):
    """Openverse with so many results: pages of 20 without a token, nothing beyond 240."""

    def answer(request):
        page, size = int(request.params["page"]), int(request.params["page_size"])
        if size > 20 and "authorization" not in request.headers:
            return Reply({"detail": "page_size must be no greater than 20 for anonymous requests"}, 401)
        if page * size > 240:
            return Reply({"detail": "pagination depth exceeded"}, 400)
        results = [
            {
                "id": f"id-{number}",
                "title": f"Photo {number}",
                "url": f"{IMAGES}/{number}.jpg",
                "foreign_landing_url": f"{IMAGES}/page/{number}",
                "creator": "Ann Author",
                "license": "by-sa",
                "license_version": "4.0",
                "license_url": "https://creativecommons.org/licenses/by-sa/4.0/",
                "width": 640,
                "height": 480,
                "thumbnail": f"{IMAGES}/{number}/thumb/",
            }
            for number in range(total)[(page - 1) * size : page * size]
        ]
        return {
            "result_count": total,
            "page_count": -(-total // size),
            "page_size": size,
            "page": page,
            "results": results,
        }

    return answer


def commons(total):
    """MediaWiki's search with image information, version 2: in the order of page numbers, with an index."""

    def answer(request):
        start, size = int(request.params["gsroffset"]), int(request.params["gsrlimit"])
        if "@" not in request.headers["user-agent"]:
            return Reply(b"Please set a user-agent", 403, {"Content-Type": "text/plain"})
        if request.params["iiurlwidth"] != "330" or request.params["gsrnamespace"] != "6":
            return Reply({"error": {"code": "badvalue"}}, 400)
        numbers = range(total)[start : start + size]
        pages = [commons_page(number) for number in numbers]
        content = {"batchcomplete": True}
        if pages:
            content["query"] = {"pages": pages[::-1]}
        if start + size < total:
            content["continue"] = {"gsroffset": start + size, "continue": "gsroffset||"}
        return content

    return answer


def commons_page(number):
    """One file of Commons."""
    texts = {"LicenseShortName": "CC BY-SA 4.0", "LicenseUrl": "https://creativecommons.org/licenses/by-sa/4.0"}
    texts["Artist"] = '<a href="//commons.wikimedia.org/wiki/User:Ann" title="Ann">Ann &amp; Author</a>'
    return {
        "pageid": 900_000 - number,
        "ns": 6,
        "title": f"File:Photo {number}.jpg",
        "index": number + 1,
        "imageinfo": [
            {
                "url": f"{IMAGES}/{number}.jpg",
                "descriptionurl": f"{IMAGES}/page/{number}",
                "thumburl": f"{IMAGES}/330px-{number}.jpg",
                "width": 640,
                "height": 480,
                "mime": "image/jpeg",
                "user": "Uploader",
                "extmetadata": {name: {"value": value, "source": "commons-desc-page"} for name, value in texts.items()},
            }
        ],
    }


def flickr(total):
    """Flickr's photo search: sizes of images as texts or numbers, some without a large one."""

    def answer(request):
        page, size = int(request.params["page"]), int(request.params["per_page"])
        if request.params["api_key"] != KEY:
            return {"stat": "fail", "code": 100, "message": "Invalid API Key (Key has invalid format)"}
        photos = [
            {
                "id": str(number),
                "owner": "12@N00",
                "title": f"Photo {number}",
                "license": "5",
                "ownername": "Ann Author",
                "url_q": f"{IMAGES}/{number}_q.jpg",
                "width_q": 150,
                "height_q": "150",
                "url_l": f"{IMAGES}/{number}.jpg",
                "width_l": "640",
                "height_l": 480,
            }
            for number in range(total)[(page - 1) * size : page * size]
        ]
        listed = {"page": page, "pages": -(-total // size), "perpage": size, "total": total, "photo": photos}
        return {"photos": listed, "stat": "ok"}

    return answer


def serpapi(total):
    """SerpApi's Google Images: pages of 100, and an error that means the end."""

    def answer(request):
        page = int(request.params["ijn"])
        if request.params["api_key"] != KEY:
            return Reply({"error": f"Invalid API key: {request.params['api_key']}."}, 401)
        results = [
            {
                "position": number + 1,
                "thumbnail": f"{IMAGES}/thumb/{number}.jpg",
                "source": "Images",
                "title": f"Photo {number}",
                "link": f"{IMAGES}/page/{number}",
                "original": f"{IMAGES}/{number}.jpg",
                "original_width": 640,
                "original_height": 480,
            }
            for number in range(total)[page * 100 : page * 100 + 100]
        ]
        content = {"search_metadata": {"status": "Success"}}
        if results:
            return {**content, "images_results": results}
        return {**content, "error": "Google hasn't returned any results for this query."}

    return answer


def brave(total):
    """Brave's image search: one page of 200 at most."""

    def answer(request):
        if request.headers["x-subscription-token"] != KEY:
            return Reply(
                {"type": "ErrorResponse", "error": {"code": "SUBSCRIPTION_TOKEN_INVALID", "detail": "No such token"}},
                422,
            )
        results = [
            {
                "type": "image_result",
                "title": f"Photo {number}",
                "url": f"{IMAGES}/page/{number}",
                "source": "images.example",
                "thumbnail": {"src": f"{IMAGES}/thumb/{number}.jpg", "width": 500, "height": 375},
                "properties": {"url": f"{IMAGES}/{number}.jpg", "width": 640, "height": 480},
            }
            for number in range(total)[: int(request.params["count"])]
        ]
        return {"type": "images", "query": {"original": request.params["q"]}, "results": results}

    return answer


def museum(total):
    """A service of nobody's, by pages or offsets from 1."""

    def answer(request):
        size = int(request.params["size"])
        first = (
            int(request.params["from"]) - 1 if "from" in request.params else (int(request.params["page"]) - 1) * size
        )
        items = [
            {"image": [{"src": f"{IMAGES}/{number}.jpg", "w": 640}], "caption": f"Photo {number}"}
            for number in range(total)[first : first + size]
        ]
        return {"data": {"items": items}}

    return answer


MUSEUM = {
    "name": "museum",
    "address": "https://api.museum.example/search",
    "parameters": {"q": "{query}", "page": "{page}", "size": "{count}"},
    "key": {"header": "Authorization", "environment": "MUSEUM_KEY", "prefix": "Bearer "},
    "results": "data.items",
    "fields": {"url": "image.0.src", "title": "caption", "width": "image.0.w"},
    "paging": {"kind": "page"},
    "limits": {"results_per_page": 20, "depth": 300, "requests_per_second": 2, "cost_per_request": 0.01},
}
"""The description of `museum`."""
