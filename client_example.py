"""Two agents talk through a hub.

    python server.py             # in one terminal
    python client_example.py     # in another

Another hub: python client_example.py https://hub.example, or HUB_URL. To a hub that asks for a
credential it shows AGENT_HUB_TOKEN, a token that covers alpha-* and beta-*.
"""

import asyncio
import os
import sys
from uuid import uuid4

from agent_hub import AgentClient
from agent_hub.client import HubError, Message, Pace

DEFAULT_URL = "http://localhost:8080"


def agent(name: str, url: str) -> AgentClient:
    """An agent of this run alone: its id is its name and the start of its session's id.

    A program that stays up keeps the default pace, which is more patient with an absent hub.
    """
    token = os.environ.get("AGENT_HUB_TOKEN") or None
    return AgentClient(url, name=name, session_id=uuid4().hex, token=token, pace=Pace(tries=3))


async def work(alpha: AgentClient) -> None:
    """What alpha does all day: read what comes, answer what is asked."""

    async def handle(message: Message) -> None:
        print(f"  alpha reads a {message.type}: {message.text or message.payload}")
        if message.type == "request":
            await alpha.send_message(message.sender, "Yes, ready.", reply_to=message.id)

    # Heartbeats, reconnects and acknowledgements happen inside.
    await alpha.listen(handle)


async def talk(beta: AgentClient, alpha_id: str) -> None:
    """What beta has to say."""
    print("beta proposes a task to everybody")
    sent = await beta.send_message("ALL", {"type": "task_proposal", "task": "code_review"})
    print(f"  accepted for {sent.accepted_count} agent(s)")

    print("beta greets alpha")
    await beta.send_message(alpha_id, "Hello Alpha!")

    print("beta asks alpha, and waits for the answer")
    answer = await beta.ask(alpha_id, "Ready for the review?", type="request", timeout=30)
    print(f"  alpha answered: {answer.text}" if answer else f"  no answer: {answer.status}")


async def converse(url: str) -> None:
    async with agent("Alpha", url) as alpha, agent("Beta", url) as beta:
        for each in (alpha, beta):
            await each.register()
            print(f"{each.agent_id} is registered")

        working = asyncio.create_task(work(alpha))
        await talk(beta, alpha.agent_id)

        for each in (beta, alpha):
            await each.deregister()
        await working
        print("both have left")


def main() -> int:
    url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("HUB_URL", DEFAULT_URL)
    try:
        asyncio.run(converse(url))
    except (HubError, ValueError) as error:
        print(f"No conversation through {url}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
