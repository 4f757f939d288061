"""The progress line."""

from irg_jax.training.progress import Progress


def test_the_progress_line_has_loss_speed_and_eta():
    now = iter([0.0, 2.0, 4.0]).__next__
    progress = Progress(2000, label="stage1", start_step=1100, clock=now)
    values = {
        "loss": 1.2341,
        "ce": 0.512,
        "mse": 0.722,
        "tokens_per_s": 8412.3,
        "time/data": 0.03,
        "time/compute": 0.97,
    }
    assert progress.line(1150, values).endswith("ETA 34s")
    line = "stage1  1200/2000  loss 1.234 (ce 0.512 mse 0.722)  8,412 tok/s  data 3 %  ETA 32s"
    assert progress.line(1200, values) == line


def test_the_eta_is_that_of_the_whole_run():
    progress = Progress(100, later_steps=1000, clock=iter([0.0, 10.0]).__next__)
    assert progress.line(50, {}).endswith("ETA 3m30s")


def test_the_eta_leaves_out_the_slow_first_step():
    seconds = iter([0.0] + [600.0 + step for step in range(1, 41)])
    progress = Progress(140, clock=seconds.__next__)
    lines = [progress.line(step, {}) for step in range(1, 41)]
    assert lines[0].endswith("ETA 23h12m")
    assert lines[-1] == "train  40/140  ETA 1m40s"
