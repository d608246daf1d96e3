"""What each page shows, as JSON: words and numbers ready to show, and what the drawing needs.

There is a module for each page of :mod:`apis_dashboard.pages`, which only lays out what stands
here: so what a user reads is tested without a browser.
"""
