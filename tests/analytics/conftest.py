from tests.votelogs import each_log, pytest_generate_tests

__all__ = ["each_log", "pytest_generate_tests"]
