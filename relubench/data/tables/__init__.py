"""Tables: columns of numbers and of text, one of which is predicted from the others."""
