"""The Celery worker of the canaries: the product's own, with Firebase's real code sent to a stand-in on loopback.

`FCM_URL` is where messages go. That address is the one seam `FirebasePush` has; nothing else differs.
"""

import os
from functools import lru_cache

from backend.worker import app
from workflows.notify import push

__all__ = ["app"]


@lru_cache(maxsize=2)
def _stand_in(credentials_file: str) -> push.FirebasePush:
    from google.oauth2 import service_account

    # google-auth also asks, from a thread of its own, where an account may be used, at an address of its own.
    setattr(service_account.Credentials, "_is_regional_access_boundary_lookup_required", lambda _: False)
    return push.FirebasePush(credentials_file, fcm_url=os.environ["FCM_URL"])


push._firebase = _stand_in
