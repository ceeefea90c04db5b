"""Write the fingerprints of every profile's configurations to ``fingerprints.json``.

After a change that is meant to change them: ``python tests/helpers/remake_fingerprints.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

from reachable import named_profiles, parts_of

from semiseg_lib.core.fingerprint import fingerprint

STORED = Path(__file__).with_name("fingerprints.json")


def fingerprints() -> dict[str, dict[str, str]]:
    """Return {profile: {part: fingerprint}}."""
    return {
        name: {part: fingerprint(value) for part, value in parts_of(profile).items()}
        for name, profile in named_profiles().items()
    }


if __name__ == "__main__":
    STORED.write_text(
        json.dumps(fingerprints(), indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n"
    )
