"""The SDK's own OAuth client, against a served hub."""

from __future__ import annotations

from tests.clock import ManualClock
from tests.oauth.client import HandClient, Storage, sdk_auth, signed_in_ide
from tests.oauth.hubs import SignInHub, sign_in_hub
from tests.oauth.person import Person
from tests.oauth.site import Site


class Visits:
    """How the person comes to the hub's page: with a new code each time that the client asks."""

    def __init__(self, hub: SignInHub, person: Person) -> None:
        self.count = 0
        self._hub = hub
        self._person = person

    async def __call__(self, url: str) -> dict[str, str]:
        self.count += 1
        return await self._person.agree(url, await self._hub.codes.make(name="ada"), "beta")


async def test_a_client_with_a_document_signs_in_and_acts_as_its_agent(
    hub: SignInHub, person: Person, era: str
) -> None:
    storage = Storage()
    async with signed_in_ide(hub, sdk_auth(hub, storage, Visits(hub, person)), era) as ide:
        me = await ide.call("get_my_identity")
        assert me["caller"] == {
            "subject": "person:ada",
            "agents": ["beta"],
            "scopes": [
                "agent:register",
                "agents:list",
                "message:broadcast",
                "message:read",
                "message:send",
            ],
        }
        await ide.call("checkin_client", client_id="beta", name="Beta")
        await ide.send("beta", "beta", "a note to myself")
        assert [message["text"] for message in await ide.read("beta")] == ["a note to myself"]
        assert (await ide.refused("get_messages", client_id="alpha"))["code"] == "forbidden"
    assert storage.client is not None
    assert storage.client.client_id == hub.site.client_id


async def test_a_client_registers_itself_where_that_is_switched_on(
    clock: ManualClock, site: Site, person: Person, era: str
) -> None:
    async with sign_in_hub(clock, site, oauth_dynamic_registration=True) as hub:
        storage = Storage()
        auth = sdk_auth(hub, storage, Visits(hub, person), with_document=False)
        async with signed_in_ide(hub, auth, era) as ide:
            await ide.call("checkin_client", client_id="beta", name="Beta")
        assert storage.client is not None
        assert storage.client.client_secret is not None
        assert site.asked == []


async def test_it_renews_its_tokens_without_its_person(
    hub: SignInHub, person: Person, clock: ManualClock, era: str
) -> None:
    visits = Visits(hub, person)
    storage = Storage()
    auth = sdk_auth(hub, storage, visits)
    async with signed_in_ide(hub, auth, era) as ide:
        await ide.call("get_my_identity")
        first = storage.tokens
        clock.pass_by(20 * 60)
        auth.context.token_expiry_time = 1.0  # its clock is the machine's
        await ide.call("get_my_identity")
    assert visits.count == 1
    assert first is not None
    assert storage.tokens is not None
    assert storage.tokens.access_token != first.access_token
    assert storage.tokens.refresh_token != first.refresh_token


async def test_after_its_tokens_were_revoked_it_brings_its_person_again(
    hub: SignInHub, person: Person, client: HandClient, clock: ManualClock, era: str
) -> None:
    visits = Visits(hub, person)
    storage = Storage()
    async with signed_in_ide(hub, sdk_auth(hub, storage, visits), era) as ide:
        await ide.call("get_my_identity")
        assert storage.tokens is not None
        revoked = await client.revoke(storage.tokens.access_token)
        assert revoked.status == 200
        clock.pass_by(1)  # what a node remembers of a proof
        await ide.call("get_my_identity")
    assert visits.count == 2
