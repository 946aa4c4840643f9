"""The pages that people open in a browser, beside the API: one module of routes and one template per page."""
