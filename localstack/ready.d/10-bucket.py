"""LocalStack runs this when it is ready: it makes the bucket that Strata uses.

LocalStack executes `.py` hooks inside its own process, so this works alike in the container and without Docker, and it
needs neither an AWS client nor credentials. STRATA_BUCKETS holds the names, separated by commas.
"""

import os
import urllib.error
import urllib.request

NAMES = os.environ.get("STRATA_BUCKETS", "strata").split(",")
ENDPOINT = "http://127.0.0.1:" + os.environ.get("GATEWAY_LISTEN", ":4566").split(",")[0].rsplit(":", 1)[1]

for name in filter(None, NAMES):
    request = urllib.request.Request(f"{ENDPOINT}/{name}", method="PUT")
    try:
        urllib.request.urlopen(request, timeout=30).close()
        print(f"bucket {name} made", flush=True)
    except urllib.error.HTTPError as refused:
        if refused.code != 409:  # 409: it is there already
            raise
