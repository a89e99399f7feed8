"""What the server loads in each web process: settings, services and the model, then the app."""

from __future__ import annotations

import atexit

from shared import log, services
from shared.db import engine
from shared.settings import process_settings
from web.app import create_app
from web.http import graceful_shutdown

settings = process_settings()
log.configure(settings.log_level)
engine.install_wait_timeout()
# Half of the threads at most wait for PostgreSQL, however long it is silent: the others predict.
held = services.build(
    settings, application=services.WEB, connections=max(1, settings.web_threads // 2)
)
held.live_model.start()
atexit.register(held.close)
graceful_shutdown.install_signal_handler()
app = create_app(held)
