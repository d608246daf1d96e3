"""Looking at the grid: the web dashboard and the view model behind it."""
