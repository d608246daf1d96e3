"""A unit whose journal cannot be written promises nothing that it could forget."""

from converter_bench import WAIT, origin
from test_election import claim

from apis_core.events import Answer, Broadcast, Command, LeaseGranted, Log, Record
from apis_core.model.messages import ClaimKind, ControlReply, LeaseGrant
from apis_core.model.origin import Asker, Origin, Requester
from apis_core.model.types import ControlError
from apis_core.unit.journal_policy import allowed_unwritten

PEER = Requester("", Origin(Asker.PEER, 1))


def grant(*, granted):
    return Broadcast(
        LeaseGrant(
            unit_id="E001",
            grid_master_id="E002",
            term=1,
            sequence=1,
            granted=granted,
            known_term=1,
        )
    )


def test_no_vote_and_no_claim_is_told_of():
    record = Record(LeaseGranted(1, "E002"))
    claims = [Broadcast(claim(kind=kind)) for kind in ClaimKind]
    allowed = allowed_unwritten([record, grant(granted=True), grant(granted=False), *claims])
    resigns = Broadcast(claim(kind=ClaimKind.RESIGN))
    assert allowed == [grant(granted=False), resigns]


def test_no_order_is_promised():
    refused = Answer(PEER, ControlReply(error=ControlError.NO_SLOT, message="why"))
    answered, other = allowed_unwritten([Answer(PEER, ControlReply()), refused])
    assert answered.requester == PEER
    assert answered.reply.error is ControlError.NOT_READY
    assert "journal" in answered.reply.message
    assert other == refused


def test_the_converter_is_ordered_all_the_same():
    effects = [Command(origin(1), WAIT), Log("a line")]
    assert allowed_unwritten(effects) == effects
