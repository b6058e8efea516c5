"""Stories of customers, heard of in any order, with duplicates and a kill -9 in the middle: they end as Stripe says."""
import pytest

from stories import STORIES, Replay, tell
from world import World

ORDERS = {"a whole life": 200}  # customers of one story: each hears of it in an order of their own


@pytest.mark.parametrize("name", STORIES)
def test_every_order_of_events_ends_in_what_stripe_says(tmp_path, name):
    with World(tmp_path, PASSWORD_ARGON2_PASSES=1) as world:
        people = tell(world, STORIES[name], ORDERS.get(name, 40))
        Replay(world, people, seed=name).run()
        for person in people:
            world.settle(person.user, person, 60)
        assert len({str(world.shown(person.user, {key: value for key, value in world.expected(person).items() if key != "current_period_end"})) for person in people}) == 1
