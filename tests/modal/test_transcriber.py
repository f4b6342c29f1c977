"""The contract of transcription over the Modal app: the API's own tests, not a line of them new."""

import pytest

from tests.api.access.test_auth import (  # noqa: F401  tests
    test_everything_but_health_needs_the_key,
    test_what_is_not_the_key_is_refused,
)
from tests.api.operations.test_operations import test_live_and_ready  # noqa: F401
from tests.api.requests.test_errors import (  # noqa: F401
    test_400_not_audio,
    test_400_not_audio_behind_a_url,
    test_403_url_that_the_policy_blocks,
    test_404_audio_that_is_not_there,
    test_404_unknown_model,
)
from tests.api.transcription.test_from_url import (  # noqa: F401
    halfway,
    test_a_stream_speaks_while_the_download_runs,
    test_the_bytes_decide,
    test_the_offset_is_added_to_every_time,
    test_the_same_words_as_from_an_upload,
)
from tests.api.transcription.test_openai_client import (  # noqa: F401
    test_diarized_json,
    test_diarized_stream,
    test_first_delta_leaves_before_the_last_chunk_is_recognised,
    test_srt,
    test_stream,
    test_stream_ends_with_done,
    test_verbose_json,
    test_vtt,
)
from tests.api.transcription.test_transcriptions import (  # noqa: F401
    test_all_routes_hear_the_same,
    test_nobody_speaks,
    test_one_bad_file_fails_alone,
    test_reflectors_file_call,
    test_reflectors_live_call,
    test_reflectors_test_suites_call,
    test_several_files_in_the_order_sent,
    test_transcribe,
    test_words_whatever_the_chunking_did,
)

pytestmark = pytest.mark.slow
