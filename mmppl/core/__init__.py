"""What a program is written with: batches, terms, hyper-parameters, the base class and its loading."""
