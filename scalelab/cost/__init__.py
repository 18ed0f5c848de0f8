"""What a prediction costs: dated prices with their sources, and the arithmetic on measured rates.

A rate is measured on the learner's machine and priced on a rented instance of as many vCPUs. That is an
estimate: a rented vCPU may be faster or slower than the core the rate was measured on.
"""

from scalelab.cost.price_book import Instance, Price, PriceBook, load_price_book
from scalelab.cost.serving import Cost, break_even_rate, cost_of_training, cost_per_million

__all__ = [
    "Cost",
    "Instance",
    "Price",
    "PriceBook",
    "break_even_rate",
    "cost_of_training",
    "cost_per_million",
    "load_price_book",
]
