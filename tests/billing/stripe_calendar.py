"""Billing periods as Stripe reckons them: the anchor and k intervals, on the last day of a month that is too short."""
import calendar
import datetime

SECONDS = {"day": 86400, "week": 7 * 86400}
MONTHS = {"month": 1, "year": 12}


def later(anchor, interval, count, k=1):
    """The k-th boundary after the anchor."""
    if interval in SECONDS:
        return anchor + k * count * SECONDS[interval]
    at = datetime.datetime.fromtimestamp(anchor, datetime.UTC)
    year, month = divmod(at.year * 12 + at.month - 1 + k * count * MONTHS[interval], 12)
    return int(at.replace(year=year, month=month + 1, day=min(at.day, calendar.monthrange(year, month + 1)[1])).timestamp())


def next_after(anchor, interval, count, stamp):
    """The first boundary after that moment; the anchor itself may come later."""
    k = (stamp - anchor) // (count * SECONDS.get(interval, 28 * 86400 * MONTHS.get(interval, 1))) + 1
    while later(anchor, interval, count, k) > stamp:
        k -= 1
    while later(anchor, interval, count, k) <= stamp:
        k += 1
    return later(anchor, interval, count, k)


def is_boundary(anchor, interval, count, stamp):
    return next_after(anchor, interval, count, stamp - 1) == stamp


def interval_of(price):
    return price["recurring"]["interval"], price["recurring"]["interval_count"]
