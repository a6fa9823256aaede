"""syrupy: the transcript of a golden run, and the snapshot extension that keeps it."""

import pytest

TEST = """
import pytest, support
from pytest_starling.syrupy import TranscriptExtension

@pytest.fixture
def snapshot(snapshot):
    return snapshot.use_extension(TranscriptExtension)

@pytest.mark.golden_run
def test_refund(golden_run, snapshot):
    support.handle()
    assert golden_run.transcript == snapshot
"""


def kept(project):
    return project.path / "__snapshots__" / "test_support" / "test_refund.transcript.txt"


def test_a_transcript_is_kept_as_a_text_file_and_holds_on_replay(project):
    project.write(test_support=TEST)
    project.record("-p", "syrupy", "--snapshot-update", passed=1)

    project.run("-p", "syrupy", passed=1)

    text = kept(project).read_text()
    assert text.startswith("goal\n  I was charged twice\nmodel\n  scripted gpt-4o-mini v0\n")
    assert text.endswith("completed\n  You get a refund.\n")


def test_a_new_recording_of_the_same_conversation_keeps_the_snapshot(project):
    project.write(test_support=TEST)
    project.record("-p", "syrupy", "--snapshot-update", passed=1)

    project.run("-p", "syrupy", "--golden-mode=all", passed=1)


def test_a_changed_conversation_fails_the_snapshot_and_shows_the_line(project):
    project.write(test_support=TEST)
    project.record("-p", "syrupy", "--snapshot-update", passed=1)
    kept(project).write_text(kept(project).read_text().replace("charged twice", "charged once"))

    output = project.run("-p", "syrupy", failed=1).stdout.str()

    assert "I was charged once" in output
    assert "I was charged twice" in output


def test_several_runs_are_numbered(project):
    project.write(
        test_support="""
        import pytest, support

        @pytest.mark.golden_run
        def test_two(golden_run):
            assert golden_run.transcript == ""
            support.handle("first")
            assert golden_run.transcript.startswith("goal\\n  first\\n")
            support.handle("second")
            one, two = golden_run.transcript.split("\\n\\n# run 2\\n")
            assert one.startswith("# run 1\\ngoal\\n  first\\n")
            assert two.startswith("goal\\n  second\\n")
        """
    )
    project.record(passed=1)
    project.run("-p", "syrupy", passed=1)


def test_the_extension_keeps_text_alone():
    from pytest_starling.syrupy import TranscriptExtension

    with pytest.raises(TypeError, match="not dict"):
        TranscriptExtension().serialize({})


def test_the_plugin_does_not_import_syrupy(project):
    project.write(test_plain="import sys\ndef test_plain(): assert 'pytest_starling.syrupy' not in sys.modules\n")

    project.run_anew("-p", "no:syrupy", passed=1)
