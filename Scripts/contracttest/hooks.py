"""What schemathesis does not know by itself; it imports this in its own process (schemathesis.toml)."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    """Lines as they are; anything else as one line of JSON."""
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "surrogatepass")


@schemathesis.deserializer("application/x-ndjson")
def lines(context, response):
    """The schema of the whole is a string."""
    return response.content.decode("utf-8")
