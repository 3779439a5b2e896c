"""A run: layers of calls, then the aggregator; events all the way."""
