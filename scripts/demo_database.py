#!/usr/bin/env python3
"""Makes the demo database: scripts/demo_database.py OUTPUT.sqlite

Runs eval/demo/bicycle_rental.sql into a temporary file and renames it, so that an interrupted run
never leaves half a database.
"""

import os
import sqlite3
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "eval" / "demo" / "bicycle_rental.sql"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    output = Path(sys.argv[1])
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        connection = sqlite3.connect(temporary)
        connection.executescript(SCRIPT.read_text(encoding="utf-8"))
        connection.close()
        os.replace(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
