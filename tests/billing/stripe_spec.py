"""Stripe's API as Stripe's own OpenAPI document describes it: what a request may say, what an object looks like."""
import copy
import functools
import json
import re
import urllib.parse

import jsonschema

from manus import ROOT

FILES = ROOT / "build-tools" / "stripe"
NEW, OLD = "2026-08-26.dahlia", "2024-09-30.acacia"
PREFIX = {NEW: "new", OLD: "old"}


def copied(thing):
    """The quickest way that there is."""
    return json.loads(json.dumps(thing))


CARDS = {  # kind of card: code, decline_code, message
    "declined": ("card_declined", "generic_decline", "Your card was declined."),
    "insufficient_funds": ("card_declined", "insufficient_funds", "Your card has insufficient funds."),
    "expired_card": ("expired_card", "expired_card", "Your card has expired."),
}
ACTION = ("Payment for this {0} requires additional user action before it can be completed successfully. Payment can be completed using the PaymentIntent "
          "associated with {1}. For more information see: https://stripe.com/docs/billing/subscriptions/overview#requires-action")


class Refused(Exception):
    """What Stripe answers instead of doing it."""

    def __init__(self, status, message, code=None, param=None, kind="invalid_request_error", **more):
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": kind, "message": message, **({"code": code} if code else {}), **({"param": param} if param else {}), **more}}


def refused_card(card, what="subscription", where="`subscription.latest_invoice`"):
    """What Stripe says where a payment had to go through at once. card: None for none."""
    if card is None:
        return Refused(400, "This customer has no attached payment source or default payment method. Please consider adding a default payment method.",
                       "resource_missing")
    if card == "authentication":
        return Refused(402, ACTION.format(what, where), f"{what}_payment_intent_requires_action", kind="card_error")
    code, decline, message = CARDS[card]
    return Refused(402, message, code, kind="card_error", decline_code=decline)


@functools.cache
def document(version=NEW):
    path = FILES / f"{PREFIX[version]}-spec3.json"
    assert path.exists(), f"{path} is missing: run scripts/deps test"
    return json.loads(path.read_text())


@functools.cache
def fixtures(version=NEW):
    return json.loads((FILES / f"{PREFIX[version]}-fixtures3.json").read_text())["resources"]


# Requests

@functools.cache
def operations(version=NEW):
    """[(method, regular expression, path, operation)]; fixed paths before those with parameters."""
    found = [(method.upper(), re.compile(re.sub(r"\{\w+\}", "([^/]+)", path) + "$"), path, operation)
             for path, methods in document(version)["paths"].items() for method, operation in methods.items()]
    return sorted(found, key=lambda one: "{" in one[2])


def operation_of(method, path):
    """(path with its parameters' names, their values, operation), or a 404."""
    for one, pattern, name, operation in operations():
        if one == method and (match := pattern.match(path)):
            return name, [urllib.parse.unquote(value) for value in match.groups()], operation
    raise Refused(404, f"Unrecognized request URL ({method}: {path}). Please see the documentation.")


def decode_form(text, limit=2000):
    """a[b][0]=c as Stripe reads it: objects and lists in each other. Values stay text."""
    top = {}
    try:
        pairs = urllib.parse.parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=limit)
    except ValueError as error:
        raise Refused(400, f"Invalid form: {error}") from None
    for name, value in pairs:
        match = re.fullmatch(r"([^\[\]]+)((?:\[[^\[\]]*\])*)", name)
        if not match:
            raise Refused(400, f"Invalid parameter name: {name}", "parameter_unknown", name)
        place, last = top, match[1]
        for part in re.findall(r"\[([^\[\]]*)\]", match[2]):
            place = place.setdefault(last, {})
            if not isinstance(place, dict):
                raise Refused(400, f"Invalid form: {name} is a value and an object", param=name)
            last = part or str(len(place))
        if last in place:
            raise Refused(400, f"Invalid form: {name} comes twice", param=name)
        place[last] = value
    return top


def typed(value, schema, name):
    """The value as the schema wants it, or a 400 that names the parameter."""
    if "anyOf" in schema:
        refusals = []
        for one in schema["anyOf"]:
            try:
                return typed(value, one, name)
            except Refused as refused:
                refusals.append(refused)
        deepest = [one for one in refusals if one.body["error"].get("param") != name]
        raise (deepest or refusals)[0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return {"object": typed_object, "array": typed_list}.get(kind, typed_value)(value, schema, name)


def typed_object(value, schema, name):
    if not isinstance(value, dict):
        raise Refused(400, "Invalid object", "parameter_invalid_empty" if value == "" else None, name)
    fields, more, result = schema.get("properties", {}), schema.get("additionalProperties"), {}
    for key, one in value.items():
        inner = f"{name}[{key}]" if name else key
        if key in fields:
            result[key] = typed(one, fields[key], inner)
        elif isinstance(more, dict) and more:
            result[key] = one if one == "" else typed(one, more, inner)  # of metadata: the key is unset
        else:
            raise Refused(400, f"Received unknown parameter: {inner}", "parameter_unknown", inner)
    for key in schema.get("required", ()):
        if key not in value:
            inner = f"{name}[{key}]" if name else key
            raise Refused(400, f"Missing required param: {inner}.", "parameter_missing", inner)
    return result


def typed_list(value, schema, name):
    if not isinstance(value, dict) or sorted(value) != sorted(map(str, range(len(value)))):
        raise Refused(400, "Invalid array", param=name)
    return [typed(value[str(i)], schema["items"], f"{name}[{i}]") for i in range(len(value))]


def typed_value(value, schema, name):
    if not isinstance(value, str):
        raise Refused(400, f"Invalid {schema.get('type')}", param=name)
    kind = schema.get("type", "string")
    if kind == "boolean":
        if value not in ("true", "false"):
            raise Refused(400, f"Invalid boolean: {value}", param=name)
        return value == "true"
    if kind == "integer":
        if not re.fullmatch(r"-?\d{1,18}", value):
            raise Refused(400, f"Invalid integer: {value}", "parameter_invalid_integer", name)
        return int(value)
    if kind == "number":
        try:
            return float(value)
        except ValueError:
            raise Refused(400, f"Invalid decimal: {value}", param=name) from None
    if "enum" in schema and value not in schema["enum"] and not schema.get("x-stripeBypassValidation"):
        raise Refused(400, f"Invalid {name}: must be one of {', '.join(schema['enum'])}", param=name)
    if value == "" and "" not in schema.get("enum", ()):
        raise Refused(400, f"You passed an empty string for '{name}'.", "parameter_invalid_empty", name)
    if len(value) > schema.get("maxLength", 5000):
        raise Refused(400, f"Invalid string: {name} is too long", "parameter_invalid_string", name)
    return value


def parameters(method, operation, query, body):
    """Of the query and the form, typed. Unknown ones are refused. Stripe's libraries put those of a DELETE into its query."""
    if method == "DELETE" and query and not body:
        query, body = "", query
    fields = {one["name"]: one["schema"] for one in operation.get("parameters", ()) if one["in"] == "query"}
    needed = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query" and one.get("required")]
    result = typed_object(decode_form(query), {"properties": fields, "required": needed}, "")
    content = operation.get("requestBody", {}).get("content", {}).get("application/x-www-form-urlencoded")
    form = decode_form(body)
    if method == "GET" and form:
        raise Refused(400, "A GET request has no body")
    return {**result, **typed_object(form, content["schema"] if content else {}, "")}


# Objects

@functools.cache
def converted(version, name):
    """A schema of the document as JSON Schema: nullable becomes a type of its own."""
    def convert(one):
        if not isinstance(one, dict):
            return one
        result = {key: value for key, value in one.items() if key in ("$ref", "type", "enum", "maxLength", "required", "format")}
        result.update({key: {name: convert(field) for name, field in one[key].items()} for key in ("properties",) if key in one})
        result.update({key: convert(one[key]) for key in ("items", "additionalProperties") if key in one})
        result.update({key: [convert(each) for each in one[key]] for key in ("anyOf", "oneOf", "allOf") if key in one})
        return {"anyOf": [result, {"type": "null"}]} if one.get("nullable") else result

    return convert(document(version)["components"]["schemas"][name])


@functools.cache
def validator(version, name):
    store, waiting = {}, [name]
    while waiting:
        one = waiting.pop()
        if one not in store:
            store[one] = converted(version, one)
            waiting += re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(store[one]))
    return jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": {"schemas": store}})


def problems(thing, version=NEW, name=None):
    """What the document does not allow in this object, as texts."""
    name = name or schema_of(thing)
    found = [f"{list(error.absolute_path)}: {error.message[:300]}" for error in validator(version, name).iter_errors(thing)]
    allowed = document(version)["components"]["schemas"][name]["properties"]
    return found + [f"{name} has no {key}" for key in thing if key not in allowed]


def schema_of(thing):
    name = thing["object"]
    return f"deleted_{name}" if thing.get("deleted") else name


def blank(resource, version=NEW):
    """An object of this kind with null wherever Stripe allows null, else what Stripe's example has."""
    schema = document(version)["components"]["schemas"][resource]
    example, result = fixtures(version)[resource], {}
    for name, field in schema["properties"].items():
        if field.get("nullable"):
            result[name] = None
        elif name in schema.get("required", ()) and name in example:
            result[name] = copy.deepcopy(example[name])
    return result


def expandable(resource, name):
    return name in document()["components"]["schemas"].get(resource, {}).get("x-expandableFields", ())
