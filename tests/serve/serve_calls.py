"""Requests to a stack of real processes, and waiting for what it does."""

import json
import threading
import time
import urllib.error
import urllib.request

from scalelab.serve.pins import IMAGE_BYTES

OCTETS = {"Content-Type": "application/octet-stream"}


def image(first, number=0):
    return bytes([first]) + number.to_bytes(4, "big") * ((IMAGE_BYTES - 1) // 4) + bytes(3)


def call(url, data=None, headers=OCTETS):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, data, headers), timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def until(condition, limit_s=30.0):
    limit = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < limit, "it did not happen"
        threading.Event().wait(0.02)
    return found
