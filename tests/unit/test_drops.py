"""What is dropped is counted by rule, and told to the log once a minute."""

from sluice.core.drops import LOGGED_EVERY_S, DropCounter, DropRule


def test_each_rule_has_a_name_of_its_own_and_says_what_it_drops() -> None:
    codes = [rule.code for rule in DropRule]
    assert len(set(codes)) == len(codes)
    assert all(code.isidentifier() and code == code.lower() for code in codes)
    assert all(rule.text for rule in DropRule)


def test_what_a_part_counts_is_in_the_whole_for_good() -> None:
    process = DropCounter()
    for _ in range(2):
        peer = DropCounter(process)
        peer.add(DropRule.LATE, 3)
        peer.add(DropRule.DUPLICATE, 0)
        assert peer.counts == {"late": 3}
        del peer
    process.add(DropRule.STRANGER)
    assert process.counts == {"late": 6, "stranger": 1}


def test_the_log_is_told_once_a_minute_of_each_rule() -> None:
    drops = DropCounter()
    assert drops.due(0.0) == []
    drops.add(DropRule.LATE, 2)
    assert drops.due(1.0) == [(DropRule.LATE, 2)]
    drops.add(DropRule.LATE, 5)
    drops.add(DropRule.FORGED)
    assert drops.due(2.0) == [(DropRule.FORGED, 1)]
    assert drops.due(1.0 + LOGGED_EVERY_S) == [(DropRule.LATE, 5)]
    assert drops.due(9.0 + 9 * LOGGED_EVERY_S) == [], "nothing more was dropped"
