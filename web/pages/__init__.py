"""The web app: pages, dashboard figures, charts, sign-in."""
