"""Makes tokens by hand, right ones and wrong ones."""
import base64
import hashlib
import hmac
import json
import time

from manus import KEY

HEADER = {"alg": "HS256", "typ": "JWT"}


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def text(part):
    return part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()


def sign(claims, header=HEADER, key=KEY, hash=hashlib.sha256):
    signed = f"{encode(text(header))}.{encode(text(claims))}"
    return f"{signed}.{encode(hmac.new(key.encode(), signed.encode(), hash).digest())}"


def claims_of(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def old_access(user, **changes):
    """As the replaced system issued them: no jti, no sid."""
    now = int(time.time())
    claims = {"sub": user["id"], "fullname": user["fullname"], "email": user["email"], "role": user["role"],
              "is_active": True, "iat": now, "exp": now + 1800, "type": "access", **changes}
    return sign({name: value for name, value in claims.items() if value is not ...})


def old_refresh(user, **changes):
    now = int(time.time())
    return sign({"sub": user["id"], "fullname": user["fullname"], "iat": now, "exp": now + 604800,
                 "type": "refresh", **changes})
