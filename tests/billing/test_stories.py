"""Stories of customers, heard of in any order, with duplicates and a kill -9 in the middle: they end as Stripe says."""
import math

import pytest

from stories import FEW, HEARS, STORIES, Replay, in_every_order, tell
from world import World

ORDERS = {"a whole life": 120}  # customers of one story: each hears of it in an order of their own
QUICK = {"PASSWORD_ARGON2_PASSES": 1, "PASSWORD_ARGON2_MEMORY_KIB": 8192}  # many sign up


def ends(world, people):
    for person in people:
        world.settle(person.user, person, 60)
    names = [[name for name in world.expected(person) if name != "current_period_end"] for person in people]
    assert len({str(world.shown(person.user, like)) for person, like in zip(people, names, strict=True)}) == 1


@pytest.mark.parametrize("name", STORIES)
def test_every_order_of_events_ends_in_what_stripe_says(tmp_path, name):
    with World(tmp_path, yearly=True, **QUICK) as world:
        few = name in FEW and HEARS in STORIES[name]  # every order is tried below
        people = tell(world, STORIES[name], ORDERS.get(name, 12 if few else 40))
        Replay(world, people, seed=name).run()
        ends(world, people)


@pytest.mark.parametrize("name", FEW)
def test_every_order_of_few_events_ends_in_what_stripe_says(tmp_path, name):
    """With one event lost, whichever it is, and with one that comes again."""
    with World(tmp_path, yearly=True, **QUICK) as world:
        people = tell(world, STORIES[name], math.factorial(FEW[name]))
        in_every_order(world, people, ends)
