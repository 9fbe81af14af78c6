"""One problem at a time: an answer through the rounds of a method, for a chat endpoint."""
