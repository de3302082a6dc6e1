"""The processes that do the work: workers, what they hold on to, and what starts them."""
