"""Docker's JSON objects as msgspec Structs, and their translation to Pier's values and back."""
