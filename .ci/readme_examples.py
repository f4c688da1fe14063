"""Run the README's marked examples against the hub that is up.

Each `bash` fence directly below a `<!-- ci:run -->` line is run as it stands. curl is told by its
configuration, not in the lines, that an answer of 400 or above is a failure.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLE = re.compile(r"^<!-- ci:run -->\n```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"^\s*<!-- ci:run -->", re.MULTILINE)
CURL_CONFIG = "silent\nshow-error\nfail-with-body\nmax-time = 60\n"
SECONDS_PER_EXAMPLE = 90


def examples(markdown: str) -> list[str]:
    found = EXAMPLE.findall(markdown)
    if not found or len(found) != len(MARK.findall(markdown)):
        sys.exit("each <!-- ci:run --> must stand directly above a ```bash fence, and one at least")
    return found


def run(example: str, curl_home: str) -> None:
    print(example.rstrip(), flush=True)
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", example],
        env={**os.environ, "CURL_HOME": curl_home},
        timeout=SECONDS_PER_EXAMPLE,
        check=False,
    )
    print(flush=True)
    if ended.returncode:
        sys.exit(f"this example ended with exit code {ended.returncode}")


def main(readme: str) -> None:
    found = examples(Path(readme).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as curl_home:
        Path(curl_home, ".curlrc").write_text(CURL_CONFIG, encoding="utf-8")
        for example in found:
            run(example, curl_home)
    print(f"{len(found)} examples passed")


if __name__ == "__main__":
    main(*sys.argv[1:])
