"""Entry point of each web process: settings, services, the live model, then the app."""

from __future__ import annotations

import atexit

from shared import log
from shared import services as process
from shared.db import engine
from shared.settings import process_settings
from web.app import create_app
from web.http import graceful_shutdown

settings = process_settings()
log.configure(settings.log_level)
engine.install_wait_timeout()
# At most half of the threads can wait for PostgreSQL while it hangs; the others predict.
connections = max(1, settings.web_threads // 2)
services = process.build(settings, application=process.WEB, connections=connections)
services.live_model.start()
atexit.register(services.close)
graceful_shutdown.install_signal_handler()
app = create_app(services)
