"""The TensorBoard monitor, read back with TensorBoard's own reader."""

from types import SimpleNamespace

import numpy as np
import pytest

from util.monitors.base import Background
from util.monitors.tensorboard import TensorboardMonitor

accumulators = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator',
                                   reason='tensorboard is not installed; pip install tensorboard')


def record(image, **losses):
    return {'epoch': 1, 'iters': image, 'total_iters': image, 'lr': 0.5, 'images_per_s': 8.0, 'losses': losses}


def read(folder):
    events = accumulators.EventAccumulator(str(folder))
    events.Reload()
    return events


def scalars(folder, tag):
    return [(event.step, event.value) for event in read(folder).Scalars(tag)]


def test_losses_and_images_are_read_back(tmp_path):
    monitor = TensorboardMonitor(tmp_path)
    monitor.losses(record(100, G=2.0, D=0.25))
    monitor.losses(record(200, G=1.0, D=0.5))
    at = SimpleNamespace(epoch=1, total_iters=200)
    monitor.images(at, {'fake_B': np.full((4, 6, 3), 7, np.uint8)}, 'train')
    monitor.images(at, {'fake_B 0': np.full((8, 6, 3), 7, np.uint8)}, 'validation')
    monitor.close()
    assert scalars(tmp_path, 'loss/G') == [(100, 2.0), (200, 1.0)]
    assert scalars(tmp_path, 'run/lr') == [(100, 0.5), (200, 0.5)]
    assert scalars(tmp_path, 'run/images_per_s')[0] == (100, 8.0)
    events = read(tmp_path)
    assert set(events.Tags()['images']) == {'train/fake_B', 'validation/fake_B 0'}
    picture, = events.Images('train/fake_B')
    assert (picture.step, picture.width, picture.height) == (200, 6, 4)


def test_a_resumed_run_hides_what_was_written_after_its_first_step(tmp_path):
    for images in ((100, 200, 300), (200, 400)):
        monitor = TensorboardMonitor(tmp_path)
        for image in images:
            monitor.losses(record(image, G=float(image + len(images))))
        monitor.close()
    assert scalars(tmp_path, 'loss/G') == [(100, 103.0), (200, 202.0), (400, 402.0)]


def test_metrics_are_read_back_without_those_that_are_not_finite(tmp_path):
    monitor = TensorboardMonitor(tmp_path)
    for image, kid in ((100, 0.5), (200, None), (300, 0.25)):
        monitor.metrics(dict(epoch=1, total_iters=image, metrics=dict(kid=kid, l1=2.0)))
    monitor.close()
    assert scalars(tmp_path, 'metric/kid') == [(100, 0.5), (300, 0.25)]
    assert [step for step, _ in scalars(tmp_path, 'metric/l1')] == [100, 200, 300]


def test_the_run_has_its_name_its_history_its_options_and_hyperparameters(tmp_path):
    from tensorboard.plugins.hparams import metadata
    history = [record(100, G=3.0), record(200, G=2.0),
               dict(epoch=1, total_iters=200, epoch_size=200, metrics=dict(kid=0.5))]
    monitor = TensorboardMonitor(tmp_path, 'models/mine', dict(lr=0.1, batch_size=2, name='a|b', no_flip=True), history,
                                 {'name'})
    monitor.losses(record(300, G=1.0))
    monitor.close()
    folder, = tmp_path.iterdir()        # TensorBoard calls a run by its folder
    assert folder.name == 'models_mine'
    assert scalars(folder, 'loss/G') == [(100, 3.0), (200, 2.0), (300, 1.0)]
    assert scalars(folder, 'metric/kid') == [(200, 0.5)]
    events = read(folder)
    text, = events.Tensors('options/text_summary')
    text = text.tensor_proto.string_val[0].decode()
    assert text.index('**name**') < text.index('batch_size') and 'a\\|b' in text
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    found = metadata.parse_session_start_info_plugin_data(content).hparams
    assert (found['lr'].number_value, found['batch_size'].number_value) == (0.1, 2)
    assert found['name'].string_value == 'a|b'
    again = TensorboardMonitor(tmp_path, 'models/mine', {}, history)      # resumed: the history is there already
    again.losses(record(400, G=0.5))
    again.close()
    assert scalars(folder, 'loss/G') == [(100, 3.0), (200, 2.0), (300, 1.0), (400, 0.5)]


def test_event_files_of_version_0_2_are_continued_where_they_are(tmp_path):
    older = TensorboardMonitor(tmp_path)
    older.losses(record(100, G=1.0))
    older.close()
    monitor = TensorboardMonitor(tmp_path, 'run', {}, [record(100, G=1.0)])
    monitor.losses(record(200, G=2.0))
    monitor.close()
    assert scalars(tmp_path, 'loss/G') == [(100, 1.0), (200, 2.0)]
    assert all(path.is_file() for path in tmp_path.iterdir())


def test_a_monitor_without_calls_writes_no_file(tmp_path):
    TensorboardMonitor(tmp_path / 'run').close()
    assert not (tmp_path / 'run').exists()


def test_it_works_in_a_background_thread(tmp_path):
    notices = []
    monitor = Background('tensorboard', lambda: TensorboardMonitor(tmp_path), notices.append)
    for image in (100, 200):
        monitor.losses(record(image, G=1.0))
    monitor.close()
    assert scalars(tmp_path, 'loss/G') == [(100, 1.0), (200, 1.0)] and notices == []
