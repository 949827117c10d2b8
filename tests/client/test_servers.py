"""The order of the servers that a client goes to."""

from __future__ import annotations

import random
from collections import Counter

from collabkernel.client.servers import Servers

URLS = ("http://a/", "http://b/", "http://c/")


def test_clients_spread_over_the_servers_at_first_and_when_one_is_gone():
    crowd = [Servers(URLS, random.Random(seed)) for seed in range(300)]
    at_first = Counter(servers.url for servers in crowd)
    assert set(at_first) == set(URLS)
    assert min(at_first.values()) > 70

    gone = [servers for servers in crowd if servers.url == "http://a/"]
    for servers in gone:
        servers.leave()
    went_to = Counter(servers.url for servers in gone)
    assert set(went_to) == {"http://b/", "http://c/"}
    assert min(went_to.values()) > len(gone) // 3


def test_it_goes_round_and_says_when_all_were_left():
    servers = Servers(URLS, random.Random(1))
    been = [servers.url]
    tried_at_once = []
    for _ in range(6):
        tried_at_once.append(servers.leave())
        been.append(servers.url)

    assert set(been[:3]) == set(URLS)
    assert been[:3] == been[3:6]
    assert tried_at_once == [True, True, False, True, True, False]


def test_one_that_serves_begins_a_new_round():
    servers = Servers(URLS, random.Random(1))
    servers.leave()
    servers.stay()
    assert [servers.leave() for _ in range(3)] == [True, True, False]


def test_the_only_one_is_never_another():
    servers = Servers(["http://a/", "http://a/"], random.Random(1))
    assert not servers.leave()
    assert servers.url == "http://a/"
