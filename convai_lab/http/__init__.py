"""HTTP: every client of this package is made here, and the addresses it may call are decided here."""

from convai_lab.http.addresses import AddressRules, Resolver
from convai_lab.http.answers import Answer, HttpxAnswer, PostingClient, post_stream
from convai_lab.http.client import guarded_client, new_client
from convai_lab.http.responses import read_limited, retry_after_secs

__all__ = [
    "AddressRules",
    "Answer",
    "HttpxAnswer",
    "PostingClient",
    "Resolver",
    "guarded_client",
    "new_client",
    "post_stream",
    "read_limited",
    "retry_after_secs",
]
