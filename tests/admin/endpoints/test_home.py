"""The home page as a browser gets it, before any script of it has run."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.admin.answers.assets import SERVED
from tcpmesh.admin.answers.endpoint import Answer, Call, Endpoint, Parameter
from tcpmesh.admin.endpoints.home import ENDPOINTS as HOME
from tcpmesh.admin.table import ENDPOINTS
from tests.admin.client import Client
from tests.admin.fakes import FakeServer


class Outline(HTMLParser):
    """Checks that elements nest, and collects what a page is made of."""

    void = frozenset(("meta", "br", "input", "link"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.posts: list[str] = []
        self.loaded: list[str] = []
        self.labels: list[str] = []
        self.fields: list[str] = []
        self.inline: list[str] = []
        """Attributes and elements that a browser would run or apply by themselves."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        found = {name: value or "" for name, value in attrs}
        if tag not in self.void:
            self.open.append(tag)
        if tag == "a":
            self.links.append(found["href"])
        if tag == "form" and found.get("method") == "post":
            self.posts.append(found["action"])
        if tag in ("link", "script"):
            self.loaded.append(found.get("href") or found["src"])
        if tag == "label":
            self.labels.append(found["for"])
        if tag in ("input", "select"):
            self.fields.append(found["id"])
        self.inline += [name for name in found if name.startswith("on") or name == "style"]
        self.inline += [tag] if tag == "style" else []

    def handle_data(self, data: str) -> None:
        """A text."""
        if self.open and self.open[-1] == "script" and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:
        """An element ends: it has to be the innermost."""
        assert self.open.pop() == tag, f"</{tag}> in the wrong place"


class HomeTests(SynchronousTestCase):
    """The home page."""

    def setUp(self) -> None:
        """Connect a client to a server."""
        self.client = Client(FakeServer())

    def page(self, body: str | None = None) -> Outline:
        """The page, parsed."""
        if body is None:
            found = self.client.ask("/")
            self.assertEqual(
                (200, "text/html; charset=UTF-8"), (found.status, found.headers["content-type"])
            )
            body = found.body
        outline = Outline()
        outline.feed(body)
        self.assertEqual([], outline.open)
        return outline

    def test_leads_everywhere(self) -> None:
        """Every endpoint is linked, or a form where it changes something."""
        outline = self.page()
        for endpoint in ENDPOINTS:
            if endpoint.is_listed:
                path = endpoint.path[1:] or "/"
                self.assertIn(path, outline.posts if endpoint.changes else outline.links)

    def test_fields_have_labels(self) -> None:
        """Each field has one label of its own, by which screen readers name it."""
        outline = self.page()
        self.assertEqual(sorted(outline.fields), sorted(outline.labels))
        self.assertEqual(len(outline.fields), len(set(outline.fields)))

    def test_nothing_inline(self) -> None:
        """No script and no style stands in the page itself, and a browser is told to run none."""
        self.assertEqual([], self.page().inline)
        for path in ("/", "/stats?format=html"):
            policy = self.client.ask(path).headers["content-security-policy"]
            self.assertIn("default-src 'none'; script-src 'self'; style-src 'self';", policy)
            self.assertIn("frame-ancestors 'none'", policy)
            self.assertNotIn("unsafe", policy)

    def test_loads_only_what_is_served(self) -> None:
        """What the page and its scripts load comes from this address, by relative paths."""
        outline = self.page()
        loaded = set(outline.loaded)
        for name in SERVED:
            if name.endswith(".js"):
                text = self.client.ask(f"/assets/{name}").body
                loaded.update(f"assets/{each}" for each in re.findall(r'from "\./([^"]+)"', text))
                self.assertNotRegex(text, r"https?://(?!www\.w3\.org/)")
                self.assertNotRegex(text, "innerHTML|outerHTML|insertAdjacentHTML|document.write")
        self.assertEqual({f"assets/{name}" for name in SERVED}, loaded)

    def test_types(self) -> None:
        """Each file has the type that a browser wants, and is not among the endpoints."""
        for name, kind in (
            ("live.js", "text/javascript; charset=UTF-8"),
            ("page.css", "text/css; charset=UTF-8"),
            ("icon.svg", "image/svg+xml"),
        ):
            found = self.client.ask(f"/assets/{name}")
            self.assertEqual((200, kind), (found.status, found.headers["content-type"]))
            self.assertEqual("nosniff", found.headers["x-content-type-options"])
        self.assertNotIn("assets", self.client.ask("/help").body)

    def test_hostile_words(self) -> None:
        """Whatever characters an endpoint's words have, they are words."""
        bad = '"><script>alert(1)</script>'
        hostile = Endpoint(
            "/x", bad, lambda call: Answer(""), (Parameter(bad, bad, (bad,)),), changes=True
        )
        call = Call(FakeServer(), {}, (hostile, replace(hostile, path="/y", changes=False)))
        answer = HOME[0].answer(call)
        assert isinstance(answer, Answer)
        body = answer.body
        assert not isinstance(body, str)
        pieces = [piece for piece in body if isinstance(piece, str)]
        self.assertNotIn("<script>alert", "".join(pieces))
        self.page("".join(pieces))
