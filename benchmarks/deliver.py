"""."""

import argparse


def run(asked: argparse.Namespace) -> None: ...
