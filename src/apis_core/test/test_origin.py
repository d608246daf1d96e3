"""An origin tells questions apart, and names them in logs."""

import pytest

from apis_core.model.origin import Asker, Origin


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        (Origin(Asker.CONVERTER_MANAGER, 7), "converter/7"),
        (Origin(Asker.TRADER, deal_id="E001-a"), "submit/E001-a"),
        (Origin(Asker.DEAL, 2, 3, "E001-a"), "E001-a/3/2"),
        (Origin(Asker.VOLTAGE_REFERENCE, 2, 3), "reference/3/2"),
        (Origin(Asker.RECOVERY, 4), "wind-up/4"),
        (Origin(Asker.PEER, 5), "peer/5"),
    ],
)
def test_its_text_says_who_asks_and_what(origin, text):
    assert str(origin) == text


def test_a_deal_that_is_called_like_a_machine_is_not_taken_for_it():
    deal, reference = (
        Origin(Asker.DEAL, 1, 3, "reference"),
        Origin(Asker.VOLTAGE_REFERENCE, 1, 3),
    )
    assert str(deal) == str(reference)
    assert deal != reference
